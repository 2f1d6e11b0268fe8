"""Two rewards that disagree, as TRL takes them."""


def length(completions, **_):
    """The longer, the better."""
    return [float(len(each)) for each in completions]


def sage(completions, **_):
    """The more sage, the better."""
    return [10.0 * each.count("sage") + each.count("t") for each in completions]
