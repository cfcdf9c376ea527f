"""The message-passing head (MP-Head): one more attention head, over entities of the prompt, beside a frozen LLaMA."""
