"""Selection: budgets for each concept, and the selectors that spend them."""
