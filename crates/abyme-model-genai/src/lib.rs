//! The providers of the crate genai as language models for Abyme: Bedrock, Vertex, Cohere and others.
