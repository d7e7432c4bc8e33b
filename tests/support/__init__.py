"""What tests share: real servers, wire clients, free ports. No tests here, and nothing of it in the wheel."""
