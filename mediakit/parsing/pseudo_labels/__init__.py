"""Pseudo-labels of segments from CLIP and CLAP, by the recipe of VALOR."""
