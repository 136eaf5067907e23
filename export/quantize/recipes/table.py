"""Every recipe, from the cheapest to the dearest."""

from __future__ import annotations

from export.quantize.activation_ranges import least_squares_ranges, measure_ranges, percentile_ranges
from export.quantize.recipes.preparations import equalised, equalised_unless_on_grid, folded
from export.quantize.recipes.recipe import Recipe
from export.quantize.recipes.roundings import by_converter, fine_tuned, learned, learned_with_copies, nearest

RECIPES = {
    recipe.name: recipe
    for recipe in (
        # The plain way, and all that networks of edge-train need: their weights lie on the int8 grid already, and they
        # were trained with the rounding that it does on the same calibration images.
        Recipe("minmax", folded, by_converter, measure_ranges),
        # Clips one value in ten thousand at either end (Wu et al. 2020, arXiv:2004.09602).
        Recipe("percentile", folded, by_converter, percentile_ranges),
        # Clips long tails where that loses least in the mean square (Sung et al. 2015, arXiv:1511.06488).
        Recipe("mse", folded, by_converter, least_squares_ranges),
        Recipe("equalised", equalised, nearest, least_squares_ranges),
        Recipe("rounded", equalised, learned, least_squares_ranges),
        Recipe("finetuned", equalised, fine_tuned, least_squares_ranges),
        Recipe("channel_duplication", equalised_unless_on_grid, learned_with_copies, least_squares_ranges),
    )
}
