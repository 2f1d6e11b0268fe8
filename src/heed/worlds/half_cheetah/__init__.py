"""Half cheetah, of MuJoCo: the flip is a catastrophe."""
