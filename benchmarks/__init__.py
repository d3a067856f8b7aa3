"""The commands behind the documentation's figures; README.md beside this file lists them."""
