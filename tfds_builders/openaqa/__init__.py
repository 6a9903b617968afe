"""The OpenAQA dataset: sounds, and questions and answers about them."""
