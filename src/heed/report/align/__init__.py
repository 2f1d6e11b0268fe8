"""Pages and plots of alignment runs and of fronts."""
