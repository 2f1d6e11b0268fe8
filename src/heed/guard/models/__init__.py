"""What a guard learns: the dynamics, the blockers, their threshold, where both have seen data, how episodes end."""
