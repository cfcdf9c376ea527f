"""Search providers behind one protocol (`webrec.tools.page.SearchProvider`), and their names."""
