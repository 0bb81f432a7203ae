"""`vswap eval canonical`: drags carried by canonicals, against where they truly go."""
