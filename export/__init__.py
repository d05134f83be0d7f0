"""Where models are made: data, training, measurement, export. Imports `screener`, never back."""
