"""The page behind a result: checked addresses, robots.txt, capped downloads, main text."""
