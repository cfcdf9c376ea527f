"""What other users took: counting evidence about candidates, and a choice model that weighs it."""
