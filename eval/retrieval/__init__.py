"""What is found for an evaluation's examples: the pages of a data set, and searching them once for every system."""
