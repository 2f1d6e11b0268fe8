"""One guarded run, as `heed guard` makes it: what was declared, what is built, trained, kept and summed up."""
