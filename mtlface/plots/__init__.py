"""Figures drawn from plain arrays: what runs, reports and TensorBoard show."""
