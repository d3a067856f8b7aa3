"""Many pools, filtering models and keep rates: what a rule is worth that was tuned to none of them."""
