"""Label tables of the field: LLP, AVE, UnAV-100 and plain ones."""
