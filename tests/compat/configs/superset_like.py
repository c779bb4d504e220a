"""Nothing here: everything is said on the command line."""
