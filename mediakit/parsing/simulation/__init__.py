"""LLP-sim: drawn features and pseudo-labels where the truth is known."""
