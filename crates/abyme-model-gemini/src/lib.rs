//! Google's Gemini API as a language model for Abyme.
