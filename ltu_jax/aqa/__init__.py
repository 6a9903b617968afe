"""Making OpenAQA: questions and answers from labelled sounds."""
