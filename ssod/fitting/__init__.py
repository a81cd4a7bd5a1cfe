"""A config fitted to data and machine: from what is measured to values, and into the config."""

from ssod.fitting.fit import fit_config
from ssod.fitting.measures import Labels, Machine, machine_at_hand, measure_labels

__all__ = ['Labels', 'Machine', 'fit_config', 'machine_at_hand', 'measure_labels']
