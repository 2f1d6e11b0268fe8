"""Optimiser steps: how long they may be, how their length changes by plan, and how they are taken back."""
