"""The APIs that programs speak, over HTTP: OpenAI's and Ollama's."""
