package main

import (
	"encoding/json"
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// judge prints what the kstatus library says of the object in each file, one line per file. A file holds {"object": ...}.
func judge(files []string) {
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			fail(err.Error())
		}
		var sample struct {
			Object map[string]any `json:"object"`
		}
		if err := json.Unmarshal(text, &sample); err != nil {
			fail(file + ": " + err.Error())
		}
		result, err := status.Compute(&unstructured.Unstructured{Object: integers(sample.Object).(map[string]any)})
		if err != nil {
			fail(file + ": " + err.Error())
		}
		fmt.Println(result.Status)
	}
}

// integers gives whole numbers the type that unstructured objects have from an API server.
func integers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			value[key] = integers(inner)
		}
	case []any:
		for index, inner := range value {
			value[index] = integers(inner)
		}
	case float64:
		if value == float64(int64(value)) {
			return int64(value)
		}
	}
	return value
}
