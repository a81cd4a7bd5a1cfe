"""Fit a config to data and machine: measure them, and set the config's values accordingly."""

from ssod.fitting.fit import fit_config
from ssod.fitting.measures import Labels, Machine, machine_at_hand, measure_labels

__all__ = ['Labels', 'Machine', 'fit_config', 'machine_at_hand', 'measure_labels']
