"""The half cheetah's flip, in the physics themselves."""

import numpy as np
import pytest

from stepped_worlds import make


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """MuJoCo writes its warnings into the current folder."""
    monkeypatch.chdir(tmp_path)


def test_a_half_cheetah_that_is_turned_over_has_flipped_in_either_direction():
    env, known = make("HalfCheetah-v5")
    physics = env.unwrapped
    for angle, danger, flip in ((0.9, False, False), (1.2, True, False), (1.65, True, True), (-1.65, True, True)):
        env.reset(seed=0)
        position = physics.init_qpos.copy()
        position[1:3] = 1.0, angle  # lifted, so that the ground does not turn it back
        physics.set_state(position, np.zeros_like(physics.init_qvel))
        observation, _, terminated, _, info = env.step(np.zeros(6, np.float32))
        assert observation[1] == pytest.approx(angle, abs=0.05)
        assert (known.danger(observation, info), info["catastrophe"], terminated) == (danger, flip, flip)
