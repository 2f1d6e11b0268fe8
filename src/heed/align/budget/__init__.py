"""The memory that a run takes, told before its weights are loaded: from configs, shapes and the settings alone."""
