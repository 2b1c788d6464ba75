"""What rules are compiled to, as `kinds.pxd` has it."""
