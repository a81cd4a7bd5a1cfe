"""Studies: data sets × label budgets × methods × seeds, each trained once and scored alike."""
