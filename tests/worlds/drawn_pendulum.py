"""Draw InvertedPendulum-v5 in a process of its own: where OpenGL is not to be had, MuJoCo may end the whole process."""

import sys

import numpy as np

from stepped_worlds import make

PLACES, ACTIONS = (-0.2, 0.0, 0.25), (-3.0, 1.5, 9.0)


def main(file):
    """Write, for every place of the cart, its picture, and the ends of each action's arrow in shares of it."""
    pictures, ends = [], []
    for place in PLACES:
        env, known = make("InvertedPendulum-v5", render_mode="rgb_array")
        env.reset(seed=0)
        env.render()
        env.unwrapped.set_state(np.array([place, 0.0]), np.zeros(2))
        pictures.append(env.render())
        seen = np.array([place, 0.0, 0.0, 0.0])
        shapes = [known.action_in_frame(env.unwrapped, seen, np.array([action])) for action in ACTIONS]
        ends.append([[shape.start, shape.end] for (shape,) in shapes])
        env.close()
    np.savez(file, pictures=np.stack(pictures), ends=np.array(ends))


if __name__ == "__main__":
    main(sys.argv[1])
