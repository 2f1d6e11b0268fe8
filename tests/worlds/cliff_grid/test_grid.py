"""Cliff grid's moves: states and their observations, and the action that leads out of doom."""

import numpy as np

from heed.worlds.cliff_grid.env import CliffGridEnv
from heed.worlds.cliff_grid.grid import (
    ACTIONS,
    at_goal,
    doomed,
    doomed_states,
    headed_for_doom,
    is_catastrophe,
    is_doomed,
    move,
    observation,
    over_cliff,
    safest_action,
    state_of,
)

COAST = ACTIONS.index("coast")
STATES = list(doomed_states())


def test_an_observation_tells_the_state_and_whether_it_is_over():
    everywhere = [(row, column, -2, 1) for row in range(-1, 8) for column in range(-1, 13)]
    assert [state_of(observation(state)) for state in everywhere] == everywhere
    free = {state[:2] for state in STATES}
    seen = np.stack([observation(state) for state in everywhere])
    ended = over_cliff(seen) | at_goal(seen)
    assert ended.tolist() == [state[:2] not in free for state in everywhere]
    assert at_goal(seen).tolist() == [state[:2] == (6, 11) for state in everywhere]


def test_the_safest_action_leads_out_of_doom_wherever_one_does():
    doomed = doomed_states()
    for state in STATES:
        assert is_doomed(move(state, safest_action(state))) == doomed[state]
        assert headed_for_doom(state) == is_doomed(move(state, COAST))


def test_what_is_known_of_a_state_is_known_of_its_observation():
    everywhere = [*STATES, (6, 2, 0, 1), (6, 11, 0, 0), (-1, 3, -1, 0)]
    seen = np.stack([observation(state) for state in everywhere]).reshape(2, -1, 4)
    assert doomed(seen).ravel().tolist() == [is_doomed(state) for state in everywhere]
    assert over_cliff(seen).ravel().tolist() == [is_catastrophe(state) for state in everywhere]


def test_who_takes_the_safest_action_instead_of_one_into_doom_never_falls_and_still_arrives():
    random = np.random.default_rng(0)
    env = CliffGridEnv()
    falls, arrivals = {True: 0, False: 0}, {True: 0, False: 0}
    for guarded in falls:
        for seed in range(100):
            env.reset(seed=seed)
            over = False
            while not over:
                action = int(random.choice(5, p=[0.2, 0.1, 0.2, 0.2, 0.3]))
                if guarded and is_doomed(env.peek(action)):
                    action = safest_action(env.state)
                _, _, terminated, truncated, info = env.step(action)
                falls[guarded] += info["catastrophe"]
                arrivals[guarded] += info["goal"]
                over = terminated or truncated
    assert falls[True] == 0
    assert falls[False] > 90
    assert arrivals[True] > 5
