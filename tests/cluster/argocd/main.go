// What Argo CD would do and say, without an Argo CD: its own sync, diff and health checks.
//
//	argocd sync KUBECONFIG       < {"application": APPLICATION, "objects": [OBJECT, ...]}
//	argocd diff KUBECONFIG       < the same: the objects as rendered, against those that are stored
//	argocd health SCRIPT.lua     < OBJECT
//
// The last two print JSON.  All is put together as in controller/state.go and controller/sync.go of
// Argo CD: the settings are read from the ConfigMap argocd-cm of the cluster, and what the
// Application says decides how objects are applied and how they are compared.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/argoproj/argo-cd/v3/common"
	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/argo"
	argodiff "github.com/argoproj/argo-cd/v3/util/argo/diff"
	"github.com/argoproj/argo-cd/v3/util/argo/normalizers"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/gitops-engine/pkg/diff"
	synccommon "github.com/argoproj/gitops-engine/pkg/sync/common"
	"github.com/argoproj/gitops-engine/pkg/sync/hook"
	resourceutil "github.com/argoproj/gitops-engine/pkg/sync/resource"
	"github.com/argoproj/gitops-engine/pkg/utils/kube"
	"github.com/argoproj/gitops-engine/pkg/utils/tracing"
	"github.com/go-logr/logr"
	log "github.com/sirupsen/logrus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	"k8s.io/kubectl/pkg/util/openapi"
)

const (
	namespace     = "argocd"
	schemaTimeout = 2 * time.Minute // for the definition of a new kind to be in the API server's schema
	schemaPause   = 200 * time.Millisecond
)

type asked struct {
	Application *v1alpha1.Application        `json:"application"`
	Objects     []*unstructured.Unstructured `json:"objects"`
}

type verdict struct {
	Kind      string          `json:"kind"`
	Name      string          `json:"name"`
	Modified  bool            `json:"modified"`
	Live      json.RawMessage `json:"live,omitempty"`
	Predicted json.RawMessage `json:"predicted,omitempty"`
}

func main() {
	log.SetLevel(log.ErrorLevel)
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: argocd sync|diff KUBECONFIG < ASKED | argocd health SCRIPT < OBJECT")
	}
	switch args[0] {
	case "sync":
		return onCluster(args[1], synchronise)
	case "diff":
		return onCluster(args[1], differences)
	case "health":
		return health(args[1])
	}
	return fmt.Errorf("%s is none of sync, diff, health", args[0])
}

// target is the cluster, with what Argo CD's cache knows of it.
type target struct {
	config    *rest.Config
	kubectl   *kube.KubectlCmd
	resources openapi.Resources
	parser    *managedfields.GvkParser
	settings  *settings.SettingsManager
}

func onCluster(kubeconfig string, do func(context.Context, *target, *asked) error) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var given asked
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		return fmt.Errorf("what is asked cannot be read: %w", err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = v1alpha1.K8sClientConfigQPS, v1alpha1.K8sClientConfigBurst
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	cluster := &target{
		config:   config,
		kubectl:  &kube.KubectlCmd{Log: logr.Discard(), Tracer: tracing.NopTracer{}},
		settings: settings.NewSettingsManager(ctx, clients, namespace),
	}
	if given.Objects, err = tracked(given.Application, given.Objects); err != nil {
		return err
	}
	if err := cluster.learn(given.Objects); err != nil {
		return err
	}
	return do(ctx, cluster, &given)
}

// tracked leaves out hooks and marks the others as the Application's, as Argo CD's repository server does.
func tracked(application *v1alpha1.Application, objects []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	var kept []*unstructured.Unstructured
	for _, one := range objects {
		if hook.IsHook(one) {
			continue
		}
		if !kube.IsCRD(one) {
			err := argo.NewResourceTracking().SetAppInstance(one, common.LabelKeyAppInstance, application.Name,
				application.Spec.Destination.Namespace, v1alpha1.TrackingMethodAnnotation, "")
			if err != nil {
				return nil, err
			}
		}
		kept = append(kept, one)
	}
	return kept, nil
}

// learn loads the API server's schema once it has all kinds of the objects: it follows new definitions late.
func (t *target) learn(objects []*unstructured.Unstructured) error {
	for deadline := time.Now().Add(schemaTimeout); ; time.Sleep(schemaPause) {
		resources, parser, err := t.kubectl.LoadOpenAPISchema(t.config)
		if err != nil {
			return err
		}
		missing := ""
		for _, one := range objects {
			if kind := one.GroupVersionKind(); parser.Type(kind) == nil {
				missing = kind.String()
			}
		}
		if missing == "" {
			t.resources, t.parser = resources, parser
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the API server's schema has no %s", missing)
		}
	}
}

func serverSideApply(application *v1alpha1.Application) bool {
	policy := application.Spec.SyncPolicy
	return policy != nil && policy.SyncOptions.HasOption(synccommon.SyncOptionServerSideApply)
}

func synchronise(ctx context.Context, cluster *target, given *asked) error {
	operations, cleanup, err := cluster.kubectl.ManageResources(cluster.config, cluster.resources)
	if err != nil {
		return err
	}
	defer cleanup()
	for _, one := range given.Objects {
		_, err := operations.ApplyResource(ctx, one, cmdutil.DryRunNone, false, true,
			serverSideApply(given.Application), common.ArgoCDSSAManager)
		if err != nil {
			return fmt.Errorf("%s %s: %w", one.GetKind(), one.GetName(), err)
		}
	}
	return nil
}

func differences(ctx context.Context, cluster *target, given *asked) error {
	config, cleanup, err := cluster.comparison(given.Application)
	if err != nil {
		return err
	}
	defer cleanup()
	verdicts := make([]verdict, 0, len(given.Objects))
	for _, one := range given.Objects {
		live, err := cluster.kubectl.GetResource(ctx, cluster.config, one.GroupVersionKind(), one.GetName(), one.GetNamespace())
		if err != nil {
			return fmt.Errorf("%s %s: %w", one.GetKind(), one.GetName(), err)
		}
		result, err := argodiff.StateDiff(live, one, config)
		if err != nil {
			return fmt.Errorf("%s %s: %w", one.GetKind(), one.GetName(), err)
		}
		said := verdict{Kind: one.GetKind(), Name: one.GetName(), Modified: result.Modified}
		if result.Modified {
			said.Live, said.Predicted = result.NormalizedLive, result.PredictedLive
		}
		verdicts = append(verdicts, said)
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

// comparison says how Argo CD's controller compares for this Application.
func (t *target) comparison(application *v1alpha1.Application) (argodiff.DiffConfig, func(), error) {
	cleanup := func() {}
	overrides, err := t.settings.GetResourceOverrides()
	if err != nil {
		return nil, cleanup, err
	}
	options, err := t.settings.GetResourceCompareOptions()
	if err != nil {
		return nil, cleanup, err
	}
	serverSide := resourceutil.HasAnnotationOption(application, common.AnnotationCompareOptions, "ServerSideDiff=true")
	builder := argodiff.NewDiffConfigBuilder().
		WithDiffSettings(application.Spec.IgnoreDifferences, overrides, options.IgnoreAggregatedRoles, normalizers.IgnoreNormalizerOpts{}).
		WithTracking(common.LabelKeyAppInstance, string(v1alpha1.TrackingMethodAnnotation)).
		WithNoCache().
		WithGVKParser(t.parser).
		WithManager(common.ArgoCDSSAManager).
		WithServerSideDiff(serverSide).
		WithStructuredMergeDiff(serverSideApply(application))
	if serverSide {
		var applier diff.KubeApplier
		applier, cleanup, err = kube.ManageServerSideDiffDryRuns(t.config, t.resources, t.kubectl.Tracer, t.kubectl.Log, nil)
		if err != nil {
			return nil, func() {}, err
		}
		builder.WithServerSideDryRunner(diff.NewK8sServerSideDryRunner(applier))
	}
	config, err := builder.Build()
	return config, cleanup, err
}

func health(path string) error {
	script, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	var object unstructured.Unstructured
	if err := json.Unmarshal(body, &object.Object); err != nil {
		return fmt.Errorf("the object cannot be read: %w", err)
	}
	status, err := lua.VM{}.ExecuteHealthLua(&object, string(script))
	if err != nil {
		return fmt.Errorf("the health check failed: %w", err)
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]string{
		"status":  string(status.Status),
		"message": status.Message,
	})
}
