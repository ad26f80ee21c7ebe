"""Other libraries' recommenders, trained on our split and judged by our code."""
