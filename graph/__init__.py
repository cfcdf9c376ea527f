"""The graph: nodes and conditional edges put together. `app` holds the instance that `langgraph dev` serves."""
