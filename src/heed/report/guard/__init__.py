"""Pages and plots of guarded runs."""
