"""Who may use how much, sit beside whom and talk to whom. The lowest package: it imports no other."""
