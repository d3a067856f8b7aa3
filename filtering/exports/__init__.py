"""Exports of a finished run: what each format writes, and how it is written on Ray, whoever is killed."""
