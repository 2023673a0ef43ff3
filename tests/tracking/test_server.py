from dεps.tracking.server import front_page

PAGE = '<!doctype html><html lang="en"><head><title>MLflow</title></head><body></body></html>'


def test_the_front_page_is_mlflows_with_a_script_before_all_others():
    page = front_page(PAGE, "#/experiments/1")
    head, script, rest = page.partition("<script>")[0], *page.partition("<script>")[2].split("</script>")
    assert head + rest == PAGE
    assert 'location.replace("#/experiments/1")' in script
    assert '"mlflow.workflowType_v1": "\\"machine_learning\\""' in script


def test_a_link_cannot_end_the_script():
    assert front_page(PAGE, "</script>").count("</script>") == 1
