// Command healthjudge says how the tools of others judge the health of objects: kstatus, Argo CD by its scripts in Lua, and Flux by
// its expressions in CEL.
//
// It reads objects as a list in JSON from its standard input and writes one verdict for each, in the same order, in JSON.
//
// Flux and kstatus are asked by their own packages. Argo CD is no module that could be imported for this; how it runs a script is
// repeated in argocd.go. The module stands apart from EMS's own, which needs none of these.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// judgment of one object.
type judgment struct {
	// KStatus is what kstatus says: Current, InProgress, Failed, Terminating.
	KStatus string `json:"kstatus"`
	// ArgoCD is the word of Argo CD; empty if it has no script for the kind and counts the object as healthy.
	ArgoCD        string `json:"argocd,omitempty"`
	ArgoCDMessage string `json:"argocdMessage,omitempty"`
	// Flux is what the expressions say; empty if there are none for the kind, so that kstatus counts.
	Flux string `json:"flux,omitempty"`
	// FluxError is why the expressions say nothing. Flux then asks again until its timeout.
	FluxError string `json:"fluxError,omitempty"`
}

func main() {
	scripts := flag.String("argocd", "", "folder `resource_customizations` with GROUP/KIND/health.lua")
	configMap := flag.String("argocd-configmap", "", "ConfigMap with resource.customizations.health.GROUP_KIND, instead of -argocd")
	expressions := flag.String("flux", "", "`file` with a Kustomization of Flux that has spec.healthCheckExprs")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *scripts, *configMap, *expressions); err != nil {
		fmt.Fprintln(os.Stderr, "healthjudge:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer, scripts, configMap, expressions string) error {
	argocd, err := newArgoCD(scripts, configMap)
	if err != nil {
		return err
	}
	flux, err := newFlux(expressions)
	if err != nil {
		return err
	}
	var objects []json.RawMessage
	if err := json.NewDecoder(in).Decode(&objects); err != nil {
		return fmt.Errorf("objects: %w", err)
	}
	judgments := make([]judgment, 0, len(objects))
	for i, raw := range objects {
		// The decoder of Kubernetes: whole numbers become int64, as in a client.
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("object: %d: %w", i, err)
		}
		j, err := judge(object, argocd, flux)
		if err != nil {
			return fmt.Errorf("object: %d: %s %q: %w", i, object.GetKind(), object.GetName(), err)
		}
		judgments = append(judgments, j)
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(judgments)
}

func judge(object *unstructured.Unstructured, argocd scriptsOfKinds, flux expressionsOfKinds) (judgment, error) {
	var j judgment
	result, err := status.Compute(object)
	if err != nil {
		return j, fmt.Errorf("kstatus: %w", err)
	}
	j.KStatus = result.Status.String()
	if script, ok := argocd[object.GroupVersionKind().GroupKind()]; ok {
		if j.ArgoCD, j.ArgoCDMessage, err = runScript(script, object); err != nil {
			return j, fmt.Errorf("Argo CD: %w", err)
		}
	}
	if evaluator, ok := flux[object.GroupVersionKind().GroupKind()]; ok {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		result, err := evaluator.Evaluate(ctx, object)
		if err != nil {
			j.FluxError = err.Error()
		} else {
			j.Flux = result.Status.String()
		}
	}
	return j, nil
}
