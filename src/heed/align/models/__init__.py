"""The models of an alignment run: the policy, its critics, and what every loading of a pretrained model needs."""
