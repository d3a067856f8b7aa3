"""The demo: a real pool of OpenMoji pictures with planted defects, filtered end to end."""
