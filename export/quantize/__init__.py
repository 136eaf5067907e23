"""How int8 files come about: recipes, ranges, rounding, and the search for the best."""
