"""The hopper's fall is its own unhealthy rule."""

import numpy as np
import pytest

from stepped_worlds import make


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """MuJoCo writes its warnings into the current folder."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("height", [0.5, 0.69, 0.71, 1.25])
@pytest.mark.parametrize("angle", [-0.21, -0.19, 0.0, 0.19, 0.21])
def test_a_hopper_has_fallen_exactly_where_it_calls_itself_unhealthy(height, angle):
    env, known = make("Hopper-v5")
    physics = env.unwrapped
    position = physics.init_qpos.copy()
    position[1:3] = height, angle
    physics.set_state(position, np.zeros_like(physics.init_qvel))
    observation = np.concatenate([physics.data.qpos[1:], physics.data.qvel])
    assert known.catastrophe(observation, {}) == (not physics.is_healthy)
    assert known.catastrophe(observation, {}) == (height < 0.7 or abs(angle) > 0.2)
