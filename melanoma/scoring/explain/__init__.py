"""Explanations of an answer: LIME and Grad-CAM."""
