"""The engine: loops over time and their derivatives. README.md beside this file draws them."""
