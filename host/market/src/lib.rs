//! The flows between plugins: publish, discover, sell, deliver, speak
