"""One loop that trains every network of the project: averaged weights, resumable to the step, stopped by time."""

from fewsteps.training.loop import Progress, train
from fewsteps.training.recipes import RECIPES, Recipe, recipe

__all__ = ["RECIPES", "Progress", "Recipe", "recipe", "train"]
