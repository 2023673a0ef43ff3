from tests.reporting import made_up

results = made_up.results
