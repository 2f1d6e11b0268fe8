"""The paddle in RAM against the paddle in the picture."""

import numpy as np

from heed.worlds.pong import rules as pong
from stepped_worlds import make, stepped


def test_the_paddles_height_in_ram_is_its_height_in_the_picture():
    env, _ = make("ALE/Pong-v5")
    green = np.array([92, 186, 92])
    env.reset(seed=0)
    heights = []
    for step in range(160):
        ram, *_ = env.step(pong.UP if step % 60 < 25 else 3)
        picture = env.unwrapped.ale.getScreenRGB()
        rows = np.flatnonzero((picture[34:194, 143] == green).all(-1)) + 34
        if len(rows) == 16:  # whole in the picture
            heights.append((rows[-1], pong.paddle_bottom(ram)))
        assert pong.too_low(ram) == (rows[-1] > 178 or ram[pong.PADDLE] > 190)  # HIRL's own test, where it can see
    in_picture, in_ram = np.array(heights).T
    assert len(np.unique(in_picture)) > 10
    assert set(in_ram - in_picture) == {0}


def test_a_paddle_moves_no_further_in_a_step_than_the_danger_zone_is_wide():
    env, known = make("ALE/Pong-v5")
    moves = [
        int(after[pong.PADDLE]) - int(before[pong.PADDLE]) for before, _, _, after, *_ in stepped(env, known, 1200)
    ]
    assert 15 < max(moves) <= pong.ONE_STEP
